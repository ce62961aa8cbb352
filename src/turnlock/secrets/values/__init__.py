"""A secret's versions and what they hold: reading and writing values, under the service's key or a customer's."""
