/**
 * A real MCP server of the SDK, for tests: over stdio when run as a program, over HTTP by `startMcpServer`. Tools: `add`
 * (structured), `greet` (text), `fail` (an error of its own), `slow` (answers when released, or never), `directions` (its arguments).
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { CallToolRequestSchema, ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js";

export interface McpHits {
  /** Names of the tools called, with their idempotency keys. */
  readonly calls: string[];
  cancelled: number;
  release(): void;
}

function serverOf(hits: McpHits, waiting: Set<() => void>): Server {
  const server = new Server({ name: "test", version: "1" }, { capabilities: { tools: {} } });
  const tools = ["add", "greet", "fail", "slow", "directions"].map((name) => ({
    name,
    inputSchema: { type: "object" as const },
  }));
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools }));
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, { signal }) => {
    const { name, arguments: args = {}, _meta } = params;
    hits.calls.push(`${name} ${String(_meta?.["rspp/idempotency-key"] ?? "")}`);
    const text = (said: string) => ({ content: [{ type: "text" as const, text: said }] });
    switch (name) {
      case "add": {
        const sum = Number(args.a) + Number(args.b);
        return { ...text(String(sum)), structuredContent: { sum } };
      }
      case "greet":
        return text(`hello ${String(args.name)}`);
      case "directions":
        return text(JSON.stringify(args));
      case "fail":
        return { ...text("no such customer"), isError: true };
      default: {
        await new Promise<void>((resolve) => {
          waiting.add(resolve);
          signal.addEventListener("abort", () => {
            hits.cancelled += 1;
            resolve();
          });
        });
        return text("done at last");
      }
    }
  });
  return server;
}

export async function startMcpServer(): Promise<{
  url: string;
  origin: string;
  hits: McpHits;
  close(): Promise<void>;
}> {
  const waiting = new Set<() => void>();
  const hits: McpHits = {
    calls: [],
    cancelled: 0,
    release: () => {
      for (const go of waiting) go();
      waiting.clear();
    },
  };
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: () => crypto.randomUUID() });
  await serverOf(hits, waiting).connect(transport as Transport);
  const http = createServer((request, response) => void transport.handleRequest(request, response));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  return {
    url: `${origin}/mcp`,
    origin,
    hits,
    close: async () => {
      await transport.close();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

if (process.argv[1] === import.meta.filename) {
  const hits: McpHits = { calls: [], cancelled: 0, release: () => {} };
  await serverOf(hits, new Set()).connect(new StdioServerTransport());
}
