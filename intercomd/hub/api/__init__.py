"""What the hub answers over HTTP: residents, administrators, stations that are paired, those who operate it."""
