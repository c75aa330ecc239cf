"""HTTP: a public site for the world and an admin site for people and the command line. No rule of syncing lives here."""
