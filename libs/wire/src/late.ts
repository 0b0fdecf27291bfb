import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const load = createRequire(import.meta.url);

/**
 * A module that is loaded when it is first asked for, at once and once: for what a process may never need, or not before it
 * is ready. Whoever wants it there in time imports it beforehand; it is the same module.
 *
 * @param url as `import.meta.resolve` gives it where the module is named.
 */
export function late<T>(url: () => string): () => T {
  let loaded: T | undefined;
  return () => {
    loaded ??= load(fileURLToPath(url())) as T;
    return loaded;
  };
}
