// Draws the page of the API from its OpenAPI document.
window.ui = window.SwaggerUIBundle({
  url: "/api/v1/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  onComplete: () => { document.body.dataset.ready = "1"; },
});
