/** What several requests have alike. */
import type { Page } from "@rspp/gen/rspp/common/v1/reference_pb";
import { fieldError } from "@rspp/host/store-failure";
import { domain } from "./refusals.ts";

const pageSizeDefault = 100;

export function pageOf(page: Page | undefined): { limit: number; after: string | null } {
  return { limit: page?.size || pageSizeDefault, after: page?.token || null };
}

/** The text of a spec; JSON is YAML. */
export function sourceOf(ask: { readonly source: Uint8Array; readonly sourceFormat: string }): {
  source: string;
  sourceFormat: "yaml" | "json";
} {
  const { source, sourceFormat } = ask;
  if (sourceFormat !== "" && sourceFormat !== "yaml" && sourceFormat !== "json") {
    throw fieldError(domain, { field: "source_format", rule: "in", message: "is `yaml` or `json`" });
  }
  if (source.length === 0) {
    const message = "the typed form is not read yet: send the text of the spec";
    throw fieldError(domain, { field: "source", rule: "required", message });
  }
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(source);
    return { source: text, sourceFormat: sourceFormat || "yaml" };
  } catch {
    throw fieldError(domain, { field: "source", rule: "utf8", message: "is no UTF-8 text" });
  }
}
