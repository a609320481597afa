"""The untrusted side: reproduce a change, compare it with main, judge it. No token; runs the pull request's code."""
