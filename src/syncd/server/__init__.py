"""HTTP: a public site for the world, an admin site for people and the command line. No rule of syncing lives here."""
