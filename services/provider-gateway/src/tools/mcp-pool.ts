/** Connections to MCP servers, one each, made when first needed and made anew when lost. The SDK is loaded then. */
import type { Client } from "@modelcontextprotocol/sdk/client/index.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";

export interface McpServer {
  readonly url?: string;
  /** Program and arguments of a child process. */
  readonly program?: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
}

export interface McpCall {
  readonly args: Readonly<Record<string, unknown>>;
  readonly idempotencyKey: string;
  readonly signal: AbortSignal;
  /** Instant of the deadline on `performance.now()`. */
  readonly untilMs: number;
}

interface Connection {
  readonly client: Promise<Client>;
  inFlight: number;
}

const SERVERS_MAX = 32;
const CONNECT_MS = 10_000;

export class McpPool {
  readonly #connections = new Map<string, Connection>();
  #closed = false;

  /** @throws what the SDK throws; the connection is made anew for the next call where it was lost. */
  async call(server: McpServer, tool: string, call: McpCall): Promise<{ isError: boolean; text: string }> {
    if (this.#closed) throw new Error("closed");
    const key = JSON.stringify([server.url, server.program, server.headers]);
    const connection = this.#connections.get(key) ?? this.#open(key, server);
    connection.inFlight += 1;
    try {
      const client = await within(connection.client, call.signal);
      const result = await client.callTool(
        { name: tool, arguments: { ...call.args }, _meta: { "rspp/idempotency-key": call.idempotencyKey } },
        undefined,
        { signal: call.signal, timeout: Math.max(1, call.untilMs - performance.now()) },
      );
      return { isError: result.isError === true, text: textOf(result) };
    } finally {
      connection.inFlight -= 1;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const all = [...this.#connections.keys()];
    await Promise.all(all.map((key) => this.#drop(key)));
  }

  #open(key: string, server: McpServer): Connection {
    const idle = [...this.#connections].find(([, { inFlight }]) => inFlight === 0);
    if (this.#connections.size >= SERVERS_MAX && idle !== undefined) void this.#drop(idle[0]);
    const connection: Connection = { client: connect(server, () => this.#forget(key, connection)), inFlight: 0 };
    this.#connections.set(key, connection);
    connection.client.catch(() => this.#forget(key, connection));
    return connection;
  }

  #forget(key: string, connection: Connection): void {
    if (this.#connections.get(key) === connection) this.#connections.delete(key);
  }

  async #drop(key: string): Promise<void> {
    const connection = this.#connections.get(key);
    this.#connections.delete(key);
    await connection?.client.then((client) => client.close()).catch(() => {});
  }
}

/** The server may be slow to start; who waits for it may leave before. */
function within<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const left = (): void => reject(new DOMException("left", "AbortError"));
    if (signal.aborted) return left();
    signal.addEventListener("abort", left, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", left));
  });
}

async function connect(server: McpServer, lost: () => void): Promise<Client> {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const client = new Client({ name: "rspp", version: "1" });
  client.onclose = lost;
  await client.connect(await transportTo(server), { timeout: CONNECT_MS });
  return client;
}

async function transportTo({ url, program, headers }: McpServer): Promise<Transport> {
  const [command, ...args] = program ?? [];
  if (command !== undefined) {
    const { StdioClientTransport } = await import("@modelcontextprotocol/sdk/client/stdio.js");
    return new StdioClientTransport({ command, args, stderr: "ignore" });
  }
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const transport = new StreamableHTTPClientTransport(new URL(url ?? ""), {
    requestInit: { headers: { ...headers }, redirect: "error" },
    reconnectionOptions: {
      maxRetries: 0,
      initialReconnectionDelay: 1_000,
      maxReconnectionDelay: 1_000,
      reconnectionDelayGrowFactor: 1,
    },
  });
  return transport as Transport;
}

/** Structured content where there is some, else the texts of the content. */
function textOf(result: Awaited<ReturnType<Client["callTool"]>>): string {
  if (result.structuredContent !== undefined) return JSON.stringify(result.structuredContent);
  const content = Array.isArray(result.content) ? (result.content as { type?: string; text?: string }[]) : [];
  return content.flatMap(({ type, text }) => (type === "text" && text !== undefined ? [text] : [])).join("\n");
}
