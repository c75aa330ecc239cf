"""The page at `/ui` of the admin site: what somebody who was woken needs, rendered here, live by EventSource, usable
without JavaScript. Jinja2 and the templates are loaded with the first page, never at the start."""
