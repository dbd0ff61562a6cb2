// tabby-agent, unmodified, against a gateway: as the language server that editors start, and as the library that Tabby's
// extensions contain. ENDPOINT, TOKEN and AGENT (the package's folder) are in the environment; HOME is a folder of its own.
// Prints one line for each thing that held; exits with 1 when one did not.
"use strict";

const assert = require("node:assert");
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const { ENDPOINT, TOKEN, AGENT, HOME } = process.env;
const held = (what) => console.log(`held: ${what}`);

const settings = path.join(HOME, ".tabby-client", "agent");
fs.mkdirSync(settings, { recursive: true });
fs.writeFileSync(
  path.join(settings, "config.toml"),
  `[server]\nendpoint = "${ENDPOINT}"\ntoken = "${TOKEN}"\n\n[anonymousUsageTracking]\ndisable = true\n`,
);

/** A language client that speaks JSON-RPC over the server's standard input and output. */
class Client {
  constructor(command, args) {
    this.child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.buffer = Buffer.alloc(0);
    this.waiting = new Map();
    this.next = 1;
    this.child.stdout.on("data", (data) => this.read(data));
  }

  write(message) {
    const body = Buffer.from(JSON.stringify({ jsonrpc: "2.0", ...message }));
    this.child.stdin.write(`Content-Length: ${body.length}\r\n\r\n`);
    this.child.stdin.write(body);
  }

  read(data) {
    this.buffer = Buffer.concat([this.buffer, data]);
    for (;;) {
      const end = this.buffer.indexOf("\r\n\r\n");
      if (end < 0) return;
      const length = Number(/Content-Length: (\d+)/i.exec(this.buffer.subarray(0, end).toString())[1]);
      if (this.buffer.length < end + 4 + length) return;
      const message = JSON.parse(this.buffer.subarray(end + 4, end + 4 + length).toString());
      this.buffer = this.buffer.subarray(end + 4 + length);
      if (message.id !== undefined && this.waiting.has(message.id)) {
        this.waiting.get(message.id)(message);
        this.waiting.delete(message.id);
      }
    }
  }

  async ask(method, params) {
    const id = this.next++;
    const answer = new Promise((resolve) => this.waiting.set(id, resolve));
    this.write({ id, method, params });
    const { result, error } = await answer;
    assert.ok(!error, JSON.stringify(error));
    return result;
  }
}

/** What the language server offers at the end of a file's second line. */
async function asLanguageServer() {
  const client = new Client(process.execPath, [path.join(AGENT, "dist", "cli.js"), "--lsp", "--stdio"]);
  try {
    await client.ask("initialize", {
      processId: process.pid,
      clientInfo: { name: "test", version: "1" },
      rootUri: null,
      capabilities: {},
    });
    client.write({ method: "initialized", params: {} });
    const uri = "file:///project/tabby.py";
    const text = "def tabby(a, b):\n    return \n\nprint(tabby(1, 2))\n";
    client.write({
      method: "textDocument/didOpen",
      params: { textDocument: { uri, languageId: "python", version: 1, text } },
    });
    const position = { line: 1, character: 11 };
    const { items } = await client.ask("textDocument/completion", { textDocument: { uri }, position });
    assert.strictEqual(items.length, 1, JSON.stringify(items));
    assert.strictEqual(items[0].textEdit.newText, "a + b");
    assert.match(items[0].data.completionId, /;python;/, "the id says what events are counted by");
    held("the language server completes a file");
    await client.ask("shutdown", null);
  } finally {
    client.child.kill();
  }
}

/** What the editors' extensions do: complete, and tell that it was shown and taken. */
async function asLibrary() {
  const { TabbyAgent } = require(AGENT);
  const agent = new TabbyAgent();
  await agent.initialize({
    config: { server: { endpoint: ENDPOINT, token: TOKEN }, anonymousUsageTracking: { disable: true } },
  });
  assert.strictEqual(agent.getStatus(), "ready");
  assert.ok(agent.getServerHealthState().model, "the gateway names its model");
  held("health and settings are read");
  const text = "def library(a, b):\n    return \n\nprint(library(1, 2))\n";
  const found = await agent.provideCompletions({
    filepath: "/project/library.py",
    language: "python",
    text,
    position: text.indexOf("return ") + "return ".length,
    manually: true,
  });
  assert.strictEqual(found.choices.length, 1, JSON.stringify(found));
  assert.ok(found.choices[0].text.endsWith("a + b"), JSON.stringify(found));
  held("the library completes a file");
  for (const type of ["view", "select"]) {
    const sent = await agent.postEvent({
      type,
      completion_id: found.id,
      choice_index: found.choices[0].index,
      view_id: "view-1",
      ...(type === "select" ? { select_kind: "line" } : {}),
    });
    assert.ok(sent, type);
  }
  held("what became of it is told");
  await agent.finalize();
}

(async () => {
  await asLanguageServer();
  await asLibrary();
  console.log("version", require(path.join(AGENT, "package.json")).version);
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
