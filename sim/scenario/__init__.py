"""What a person describes: frozen dataclasses, a noun a file; every number is validated here."""
