"""Git: the checkout, and a bare repository to fetch, build commits and push with."""
