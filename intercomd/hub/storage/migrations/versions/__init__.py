"""One module for each schema; its revision is the schema's number. Nothing here may change once it is released."""
