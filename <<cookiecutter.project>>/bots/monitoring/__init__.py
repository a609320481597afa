"""Watches production: what is asked, what comes of it, what that means, and who must know."""
