"""Does it help? Studies of real data sets, from fetching the data to the table."""
