"""Pure rules about money: integers and the standard library, no database, no network, no clock."""
