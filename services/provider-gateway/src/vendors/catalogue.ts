/** Every vendor that the gateway knows. Nothing here imports a vendor's code; each vendor adds its line. */
import { openaiEntries } from "./openai/entries.ts";
import type { VendorEntry } from "./vendor.ts";

export const vendorCatalogue: readonly VendorEntry[] = [...openaiEntries];
