import type { Invocation, InvocationSink } from "@rspp/ports/provider";
import { endedInvocation, type ManagedProvider } from "../../attempt.ts";
import { readSettings, type SettingSpecs, type SettingValues } from "../../settings.ts";
import type { VendorAccess } from "../vendor.ts";
import type { Failure } from "./failure.ts";
import {
  GatheredRecognition,
  type GatheredRequest,
  type LineEvents,
  type LineShape,
  type RecognitionOptions,
  StreamedRecognition,
  type SttLine,
} from "./recognition.ts";
import type { recogniserSpecs } from "./settings.ts";

/** What an adapter is asked for: settings as read, and the key of now. */
export interface Asked<S extends SettingSpecs> {
  readonly values: SettingValues<S>;
  /** Empty only where the vendor needs none. */
  readonly key: string;
  readonly access: VendorAccess;
}

export interface RecogniserVendor<S extends SettingSpecs> {
  readonly name: string;
  readonly specs: S;
  /** A server of one's own may ask for no key. */
  readonly keyOptional?: true;
  /** What the live connection takes, and how it is opened. */
  live?: { readonly shape: LineShape; connect(asked: Asked<S>, events: LineEvents): SttLine };
  /** One request with all of the utterance; never rejects. */
  gathered(asked: Asked<S>, request: GatheredRequest): Promise<Failure | undefined>;
  warm?(): Promise<void>;
  close?(): Promise<void>;
}

/** A recogniser of a vendor: settings checked, key present, then streamed or gathered as setting `streaming` says. */
export function createRecogniser<S extends SettingSpecs & typeof recogniserSpecs>(
  access: VendorAccess,
  vendor: RecogniserVendor<S>,
): ManagedProvider {
  const { clock } = access;
  return {
    name: vendor.name,
    modality: "stt",
    open(request, sink): Invocation {
      const read = readSettings(request.settings, vendor.specs);
      if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
      const key = access.key() ?? "";
      if (key === "" && vendor.keyOptional !== true) {
        const detail = `${vendor.name} has no key; set the vendor's key in the gateway's configuration`;
        return endedInvocation(clock, sink, "unauthorized", detail);
      }
      return start(vendor, { values: read.values, key, access }, sink);
    },
    ...(vendor.warm === undefined ? {} : { warm: () => vendor.warm?.() ?? Promise.resolve() }),
    ...(vendor.close === undefined ? {} : { close: () => vendor.close?.() ?? Promise.resolve() }),
  };
}

function start<S extends SettingSpecs & typeof recogniserSpecs>(
  vendor: RecogniserVendor<S>,
  asked: Asked<S>,
  sink: InvocationSink,
): Invocation {
  const common = asked.values as SettingValues<typeof recogniserSpecs>;
  const options: RecognitionOptions = {
    clock: asked.access.clock,
    connectTimeoutMs: common.connect_timeout_ms,
    stallMs: common.stall_ms,
    language: common.language,
  };
  const { live } = vendor;
  if (common.streaming && live !== undefined) {
    return new StreamedRecognition(options, sink, live.shape, (events) => live.connect(asked, events));
  }
  return new GatheredRecognition(options, sink, (request) => vendor.gathered(asked, request));
}
