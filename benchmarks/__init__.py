"""What the product can do on this machine, as ratios within one run: `make bench`. See README.md."""
