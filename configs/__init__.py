"""The settings of every verb and the choices they are composed from, as YAML files; shipped with the package."""
