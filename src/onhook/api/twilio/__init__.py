"""What a bot made for Twilio needs of Twilio's REST API: to look at its call, and to hang up."""
