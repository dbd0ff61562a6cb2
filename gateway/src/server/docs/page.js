"use strict";
(async () => {
  const main = document.getElementById("main");
  const withForm = document.body.dataset.form === "true";
  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const pretty = (value) => JSON.stringify(value, null, 2);
  let api;
  try {
    const answer = await fetch(document.body.dataset.openapi);
    if (!answer.ok) throw new Error(answer.status + " " + answer.statusText);
    api = await answer.json();
  } catch (error) {
    main.replaceChildren(make("p", { role: "alert" }, "The API's description cannot be read: " + error.message));
    return;
  }
  const token = make("input", { id: "token", type: "password", autocomplete: "off", placeholder: "not needed when auth.anonymous is set" });

  // Follows references so that a reader sees whole schemas.
  const whole = (schema, depth = 0) => {
    if (!schema || typeof schema !== "object" || depth > 8) return schema;
    if (schema.$ref) return whole(api.components.schemas[schema.$ref.split("/").pop()], depth + 1);
    if (Array.isArray(schema)) return schema.map((item) => whole(item, depth + 1));
    return Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, whole(value, depth + 1)]));
  };

  const form = (path, method, operation, body) => {
    const text = body ? make("textarea", { class: "body", spellcheck: "false", "aria-label": "Request body" }) : null;
    if (text) text.value = pretty(body.example);
    const send = make("button", { type: "button", class: "send" }, "Send");
    const shown = make("pre", { class: "answer", "aria-live": "polite" });
    send.addEventListener("click", async () => {
      send.disabled = true;
      shown.textContent = "…";
      const headers = {};
      if (text) headers["content-type"] = "application/json";
      if (token.value) headers.authorization = "Bearer " + token.value;
      if (operation.security.some((one) => "gitlab" in one)) headers["x-gitlab-authentication-type"] = "oidc";
      try {
        const answer = await fetch(path, { method: method.toUpperCase(), headers, body: text ? text.value : undefined });
        const told = ["x-request-id", "x-modelgate-outcome", "server-timing"].filter((name) => answer.headers.has(name));
        shown.textContent = answer.status + " " + answer.statusText + "\n" + told.map((name) => name + ": " + answer.headers.get(name) + "\n").join("") + "\n";
        // Streams are shown as they come.
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let piece = await reader.read(); !piece.done; piece = await reader.read()) shown.textContent += piece.value;
        shown.dataset.done = "true";
      } catch (error) {
        shown.textContent = "The request failed: " + error.message;
      }
      send.disabled = false;
    });
    return [...(text ? [make("label", {}, "Request body"), text] : []), send, shown];
  };

  const page = [make("h1", {}, api.info.title + " " + api.info.version)];
  if (withForm) page.push(make("label", { for: "token" }, "Bearer token"), token);
  const tags = new Map();
  for (const [path, methods] of Object.entries(api.paths))
    for (const [method, operation] of Object.entries(methods)) {
      const head = [make("span", { class: "method" }, method.toUpperCase()), make("code", { class: "path" }, path), operation.summary];
      const body = operation.requestBody && operation.requestBody.content["application/json"];
      const block = make(withForm ? "details" : "section", { id: operation.operationId }, make(withForm ? "summary" : "h3", {}, ...head));
      if (withForm) block.append(...form(path, method, operation, body));
      else if (body) block.append(make("p", {}, "Body"), make("pre", {}, pretty(whole(body.schema))), make("p", {}, "Example"), make("pre", {}, pretty(body.example)));
      if (!withForm) block.append(make("p", {}, "Answers: " + Object.entries(operation.responses).map(([status, answer]) => status + " " + answer.description).join(", ")));
      for (const tag of operation.tags) tags.set(tag, [...(tags.get(tag) || []), block]);
    }
  for (const [tag, blocks] of tags) page.push(make("h2", {}, tag), ...blocks);
  main.replaceChildren(...page);
})();
