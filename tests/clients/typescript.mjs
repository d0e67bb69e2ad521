// The TypeScript SDK's client, as an application would use it. Arguments: {url} or {command, args}, era ("2026" or "2025"),
// answer (what the person fills in; without it the client shows no forms), calls [[tool, arguments]]. "$RUN" in the arguments is
// the run of the call before. What it saw goes to stdout as one line of JSON.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const given = JSON.parse(process.argv[2]);
const seen = { asked: [], progress: 0, results: [] };
const client = new Client(
  { name: "typescript", version: "1" },
  {
    capabilities: given.answer ? { elicitation: {} } : {},
    versionNegotiation: { mode: given.era === "2026" ? { pin: "2026-07-28" } : "legacy" },
  },
);
if (given.answer) {
  client.setRequestHandler("elicitation/create", async (request) => {
    seen.asked.push(request.params);
    return { action: "accept", content: given.answer };
  });
}
const transport = given.url
  ? new StreamableHTTPClientTransport(new URL(given.url))
  : new StdioClientTransport({ command: given.command, args: given.args, env: process.env, stderr: "ignore" });
await client.connect(transport);
seen.version = client.getNegotiatedProtocolVersion();
seen.tools = (await client.listTools()).tools.map((tool) => tool.name);
let run = null;
for (const [name, args] of given.calls) {
  const filled = JSON.parse(JSON.stringify(args).replaceAll("$RUN", run));
  const result = await client.callTool({ name, arguments: filled }, { onprogress: () => (seen.progress += 1) });
  run = result.structuredContent?.run_id ?? run;
  seen.results.push(result);
}
await client.close();
console.log(JSON.stringify(seen));
