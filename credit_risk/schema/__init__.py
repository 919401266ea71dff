"""What an application is: its attributes, their meanings, and how files and lists of them are validated."""
