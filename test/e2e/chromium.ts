/** A headless Chromium, driven by its DevTools protocol with what Node has: no driver package. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

const names = ["chromium", "chromium-browser", "google-chrome"];

/** Where the browser is; undefined when none is installed. */
export const chromium: string | undefined = (process.env.PATH ?? "")
  .split(delimiter)
  .flatMap((folder) => names.map((name) => join(folder, name)))
  .find((path) => existsSync(path));

const startMs = 60_000;
const answerMs = 60_000;

export interface Page {
  /** Evaluates an expression in the page; a promise is awaited. Rejects with the page's error. */
  run<T>(expression: string): Promise<T>;
  /** What the page wrote on its console, and errors nobody caught. */
  readonly console: readonly string[];
  close(): Promise<void>;
}

export interface ChromiumOptions {
  /** Folder of the profile; it is created. */
  readonly profile: string;
  readonly args?: readonly string[];
}

/** Starts the browser and opens a page. `close` ends both. */
export async function openPage(url: string, options: ChromiumOptions): Promise<Page> {
  if (chromium === undefined) throw new Error("chromium is not installed: apt-get install chromium");
  const args = ["--headless=new", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage"];
  args.push("--remote-debugging-port=0", `--user-data-dir=${options.profile}`, ...(options.args ?? []), "about:blank");
  const child = spawn(chromium, args, { stdio: ["ignore", "ignore", "pipe"] });
  try {
    const { host } = new URL(await endpointOf(child));
    const made = await fetch(`http://${host}/json/new?about:blank`, { method: "PUT" });
    const { webSocketDebuggerUrl } = (await made.json()) as { webSocketDebuggerUrl: string };
    const session = await devTools(webSocketDebuggerUrl);
    const page = await pageOf(session, child);
    await session.ask("Page.navigate", { url });
    await loaded(page);
    return page;
  } catch (failure) {
    child.kill("SIGKILL");
    throw failure;
  }
}

function endpointOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const failed = (why: string): void => reject(new Error(`chromium ${why}:\n${text}`));
    const timer = setTimeout(() => failed(`was not ready in ${startMs} ms`), startMs);
    child.once("error", (failure) => failed(failure.message));
    child.once("exit", (code) => failed(`ended with ${code}`));
    child.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
      text = (text + chunk).slice(-20_000);
      const found = text.match(/^DevTools listening on (ws:\S+)$/m)?.[1];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(found);
    });
  });
}

interface Session {
  ask<T = unknown>(method: string, params?: object): Promise<T>;
  on(method: string, listener: (params: never) => void): void;
}

interface Answer {
  id?: number;
  method?: string;
  params?: never;
  result?: unknown;
  error?: { message: string };
}

async function devTools(url: string): Promise<Session> {
  const socket = new WebSocket(url);
  const asked = new Map<number, { resolve: (value: never) => void; reject: (failure: Error) => void }>();
  const listeners = new Map<string, (params: never) => void>();
  let last = 0;
  socket.onmessage = ({ data }) => {
    const { id = 0, method = "", params, result, error } = JSON.parse(String(data)) as Answer;
    const question = asked.get(id);
    asked.delete(id);
    if (question === undefined) return listeners.get(method)?.(params as never);
    if (error === undefined) question.resolve(result as never);
    else question.reject(new Error(error.message));
  };
  socket.onclose = () => {
    for (const { reject } of asked.values()) reject(new Error("the browser is gone"));
  };
  await new Promise<void>((resolve, reject) => {
    socket.onopen = () => resolve();
    socket.onerror = () => reject(new Error(`no DevTools at ${url}`));
  });
  return {
    ask: (method, params = {}) =>
      new Promise((resolve, reject) => {
        last += 1;
        const id = last;
        const timer = setTimeout(() => reject(new Error(`${method}: no answer in ${answerMs} ms`)), answerMs);
        const settled = <T>(then: (value: T) => void) => {
          return (value: T) => {
            clearTimeout(timer);
            then(value);
          };
        };
        asked.set(id, { resolve: settled(resolve), reject: settled(reject) });
        socket.send(JSON.stringify({ id, method, params }));
      }),
    on: (method, listener) => void listeners.set(method, listener),
  };
}

interface Evaluated {
  result: { value?: unknown };
  exceptionDetails?: { text: string; exception?: { description?: string } };
}

async function pageOf(session: Session, child: ChildProcess): Promise<Page> {
  const said: string[] = [];
  session.on("Runtime.consoleAPICalled", ({ args }: { args: { value?: unknown; description?: string }[] }) => {
    said.push(args.map(({ value, description }) => String(value ?? description)).join(" "));
  });
  session.on(
    "Runtime.exceptionThrown",
    ({ exceptionDetails: e }: { exceptionDetails: Evaluated["exceptionDetails"] }) => {
      said.push(`not caught: ${e?.exception?.description ?? e?.text}`);
    },
  );
  await session.ask("Runtime.enable");
  await session.ask("Page.enable");
  return {
    console: said,
    async run(expression) {
      const how = { expression, awaitPromise: true, returnByValue: true };
      const { result, exceptionDetails } = await session.ask<Evaluated>("Runtime.evaluate", how);
      if (exceptionDetails === undefined) return result.value as never;
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    },
    close: async () => {
      const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
      if (child.exitCode !== null || child.signalCode !== null) return;
      session.ask("Browser.close").catch(() => child.kill("SIGKILL"));
      const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** The page's module has run: it sets `ready`. */
async function loaded(page: Page): Promise<void> {
  const endMs = performance.now() + startMs;
  while (!(await page.run<boolean>("globalThis.ready === true").catch(() => false))) {
    if (performance.now() > endMs) throw new Error(`the page did not load:\n${page.console.join("\n")}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
