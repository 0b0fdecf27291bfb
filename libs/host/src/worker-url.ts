/**
 * The script of a worker thread that lies beside the module that starts it: TypeScript in the repository, JavaScript in what
 * is built of it (deploy/container).
 * @param name without extension.
 * @param besides the starting module's `import.meta.url`.
 */
export function workerUrl(name: string, besides: string): URL {
  return new URL(`./${name}.${besides.endsWith(".ts") ? "ts" : "js"}`, besides);
}
