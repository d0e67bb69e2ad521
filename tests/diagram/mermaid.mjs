// Reads diagrams as a JSON list of texts from stdin, and answers with what Mermaid makes of each.
import { text } from "node:stream/consumers";
import { JSDOM } from "jsdom";

const { window } = new JSDOM("");
globalThis.window = window;
globalThis.document = window.document;
const { default: mermaid } = await import("mermaid");
mermaid.initialize({ startOnLoad: false });

const read = async (source) => {
  const { type, db } = await mermaid.mermaidAPI.getDiagramFromText(source);
  return {
    type,
    nodes: Object.fromEntries([...db.getVertices()].map(([id, node]) => [id, node.text])),
    arrows: db.getEdges().map(({ start, end, text, stroke }) => [start, end, text, stroke]),
    frames: Object.fromEntries(db.getSubGraphs().map(({ id, nodes, title }) => [id, { title, nodes }])),
  };
};

const answers = [];
for (const source of JSON.parse(await text(process.stdin))) {
  answers.push(await read(source).catch((error) => ({ error: String(error) })));
}
process.stdout.write(JSON.stringify(answers));
