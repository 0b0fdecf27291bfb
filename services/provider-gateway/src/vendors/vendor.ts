/** What a vendor's adapters are to the gateway: an entry of the catalogue, and what they are reached by where configured. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ProviderCapabilitiesSchema } from "@rspp/gen/rspp/provider/v1/provider_pb";
import type { Clock } from "@rspp/ports/clock";
import type { Modality } from "@rspp/ports/provider";
import type { ManagedProvider } from "../attempt.ts";

/** What one configured vendor endpoint is reached by. Ask anew at each open: keys rotate, endpoints are configured anew. */
export interface VendorAccess {
  readonly clock: Clock;
  /** Base URL (http, https, ws or wss) without a slash at its end; the vendor's own by default. */
  readonly baseUrl: string;
  /** The key now; undefined: none is found, the outcome is `unauthorized`. Never logged, never in a detail. */
  key(): string | undefined;
  /** The vendor's further options by their name in {@link VendorEntry.options}; those not set are absent. */
  readonly options: Readonly<Record<string, string>>;
}

/** A provider that a vendor serves. Importing an entry imports none of the vendor's code. */
export interface VendorEntry {
  /** `deepgram/stt`. */
  readonly name: string;
  readonly modality: Modality;
  /** For people, in `ListProviders`. */
  readonly terms: string;
  /** The vendor's own. */
  readonly baseUrl: string;
  /** `DEEPGRAM_API_KEY`; in lower case the gateway's configuration key. Configured when it is set. */
  readonly keyVariable: string;
  /** `DEEPGRAM_BASE_URL`; in lower case the gateway's configuration key. */
  readonly baseUrlVariable: string;
  /** A server of one's own may ask for no key: it is configured, too, when only its base URL is. */
  readonly keyOptional?: true;
  /** Further options of the vendor, and the environment variable of each: `{ region: "AWS_REGION" }`. */
  readonly options?: Readonly<Record<string, string>>;
  readonly capabilities: MessageInitShape<typeof ProviderCapabilitiesSchema>;
  /** Imports the vendor's code; called once, and only where the vendor is configured. */
  load(): Promise<(access: VendorAccess) => ManagedProvider>;
}
