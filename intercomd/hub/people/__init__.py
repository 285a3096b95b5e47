"""Who is behind a name, how they get in and what they may do: stations, residents, administrators, groups."""
