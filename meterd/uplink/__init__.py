"""One exchange with the server: who we are, what is sent, and what of the answer is believed."""
