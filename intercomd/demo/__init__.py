"""Both stations and a hub on one machine, with a panel page and a scripted run."""
