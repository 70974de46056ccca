"""Where people work with agents: rooms, agents, sessions, files. It cannot spend: metered models are handed to it."""
