"""The routes of the API and of the pages, one file per resource. `recorder.web.routers` lists them."""
