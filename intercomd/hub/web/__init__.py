"""What serves HTTP: the table of routes and its description, the pages' files, TLS, proxies."""
