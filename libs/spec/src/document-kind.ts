/** Which of the documents of this room a text is, by its `schema:` line; a spec where there is none. */
export type DocumentKind =
  | "pipeline"
  | "module"
  | "overrides"
  | "policy"
  | "rollout"
  | "tenant_config"
  | "provider_config"
  | "node_package"
  | "test";

const schema =
  /^\s*[{]?\s*["']?schema["']?\s*:\s*["']?rspp\/(module|overrides|policy|rollout|tenant-config|provider-config|node-package|test)\/v1/m;

export function documentKind(text: string): DocumentKind {
  const [, kind] = schema.exec(text) ?? [];
  const other = text.search(/^\s*[{]?\s*["']?schema["']?\s*:\s*["']?rspp\/pipeline\/v1/m);
  const at = kind === undefined ? -1 : text.search(schema);
  if (kind === undefined || (other >= 0 && other < at)) return "pipeline";
  return kind.replace("-", "_") as DocumentKind;
}
