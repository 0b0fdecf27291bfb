/** Serves a page with the client's own modules: types are stripped, nothing is bundled, an import map finds the rest. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { stripTypeScriptTypes } from "node:module";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";

const root = join(import.meta.dirname, "../..");
/** Prefixes of addresses and the folders they stand for. */
const folders: Readonly<Record<string, string>> = {
  "/client/": "libs/client/src/",
  "/gen/": "gen/",
  "/page/": "test/e2e/",
  "/protobuf/": "node_modules/@bufbuild/protobuf/dist/esm/",
  "/protovalidate/": "node_modules/@bufbuild/protovalidate/dist/esm/",
};
const imports = {
  "@rspp/client/": "/client/",
  "@rspp/gen/": "/gen/",
  "@bufbuild/protobuf": "/protobuf/index.js",
  "@bufbuild/protobuf/codegenv2": "/protobuf/codegenv2/index.js",
  "@bufbuild/protobuf/wkt": "/protobuf/wkt/index.js",
  "@bufbuild/protovalidate/": "/protovalidate/",
};

export interface PageServer {
  readonly url: string;
  close(): Promise<void>;
}

/** On a free port of loopback, which browsers take for a secure place. `script` is a file of this folder. */
export async function servePage(script: string): Promise<PageServer> {
  const map = JSON.stringify({ imports });
  const html = `<!doctype html><meta charset="utf-8"><title>call</title><link rel="icon" href="data:,">
<script type="importmap">${map}</script><script type="module" src="/page/${script}"></script>\n`;
  const server = createServer(({ url = "/" }, response) => {
    const body = url === "/" ? html : moduleAt(url);
    const type = url === "/" ? "text/html" : "text/javascript";
    response.writeHead(body === null ? 404 : 200, { "content-type": `${type}; charset=utf-8` });
    response.end(body ?? "");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function moduleAt(url: string): string | null {
  const path = normalize(url);
  const prefix = Object.keys(folders).find((each) => path.startsWith(each));
  if (prefix === undefined) return null;
  const file = join(root, folders[prefix] ?? "", path.slice(prefix.length));
  // As the workspaces' `exports` have it: what is imported without an ending.
  const ending = { "/client/": ".ts", "/gen/": ".js" }[prefix] ?? "";
  try {
    const text = readFileSync(extname(file) === "" ? `${file}${ending}` : file, "utf8");
    return file.endsWith(".js") || ending === ".js" ? text : stripTypeScriptTypes(text);
  } catch {
    return null;
  }
}
