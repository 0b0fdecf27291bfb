/**
 * Signing keys that change without a failure (F-169). A new key is published before anything is signed with it, long enough that
 * every verifier may have asked for it; the old one stays good until what it signed has ended. Public halves stand in the
 * database, so that each replica publishes those of all.
 */
import { StoreError } from "@rspp/store/store-error";
import type { KeyPurpose, PublicKeyRow, TokenStore } from "@rspp/store/token-store";
import { type KeyPlace, openSigningKey, replaceSigningKey, type SigningPair } from "./signing-key.ts";

export interface KeyRingOptions {
  readonly purpose: KeyPurpose;
  readonly place: KeyPlace;
  readonly store: TokenStore;
  /** Whatever a key signed without {@link KeyRing.noteUse} has ended so long after it signs no more. */
  readonly graceMs: number;
  /** From the publication of a key to its first use; default 15000, beyond the bound on verifiers' questions (10 s). */
  readonly leadMs?: number;
  /** A key of the data directory is replaced at this age; 0: never by itself. */
  readonly maxAgeMs?: number;
  wallMs(): number;
}

export interface Rotated {
  readonly keyId: string;
  readonly oldKeyId: string;
  readonly oldNotAfterWallMs: number;
}

const leadMsDefault = 15_000;
/** How long a list of public keys is told again without a look into the database. */
const listMs = 1_000;

export class KeyRing {
  readonly #options: KeyRingOptions;
  #current: SigningPair;
  #since: number;
  #next: { readonly pair: SigningPair; readonly fromMs: number } | null = null;
  #listed: { readonly keys: readonly PublicKeyRow[]; readonly atMs: number } | null = null;

  private constructor(options: KeyRingOptions, current: SigningPair) {
    this.#options = options;
    this.#current = current;
    this.#since = options.wallMs();
  }

  /** @throws StoreError as {@link openSigningKey} does, and `invalid` for a key that was given up as stolen. */
  static async open(options: KeyRingOptions): Promise<KeyRing> {
    const { place, store, purpose, wallMs } = options;
    let pair = await openSigningKey(place);
    if ((await store.publishKey(purpose, pair, wallMs())) === "stolen") {
      if (place.reference !== "") throw givenUp(pair);
      pair = await replaceSigningKey(place);
      await store.publishKey(purpose, pair, wallMs());
    }
    return new KeyRing(options, pair);
  }

  /** What signs now. */
  get current(): SigningPair {
    return this.#current;
  }

  /** Every key that is good now, newest first. While the database is away, those of the last look. */
  async list(): Promise<readonly PublicKeyRow[]> {
    const { store, purpose, wallMs } = this.#options;
    const nowMs = wallMs();
    if (this.#listed === null || Math.abs(nowMs - this.#listed.atMs) >= listMs) {
      try {
        this.#listed = { keys: await store.listKeys(purpose, nowMs), atMs: nowMs };
      } catch (failure) {
        if (this.#listed === null) throw failure;
      }
    }
    return this.#listed?.keys.filter(({ notAfterWallMs: end }) => end === 0 || end > nowMs) ?? [];
  }

  /** Before something is signed that outlives the grace. */
  noteUse(untilWallMs: number): Promise<void> {
    const { store, purpose } = this.#options;
    return store.noteUse(purpose, this.#current.keyId, untilWallMs);
  }

  /**
   * Takes a new key, for keys of the data directory. `stolen`: at once, and what the old one signed is refused.
   * @throws StoreError `invalid` for a key by reference, unless it was changed there already.
   */
  async rotate(stolen: boolean): Promise<Rotated> {
    const { place, wallMs, graceMs } = this.#options;
    const old = this.#current;
    const read = await openSigningKey(place);
    const pair = read.keyId === old.keyId ? await replaceSigningKey(place) : read;
    await this.#announce(pair);
    if (stolen) await this.#promote(true);
    const oldNotAfterWallMs = stolen ? wallMs() : (this.#next?.fromMs ?? wallMs()) + graceMs;
    return { keyId: pair.keyId, oldKeyId: old.keyId, oldNotAfterWallMs };
  }

  /** Now and then: a key that was changed where it is kept is taken up, one that was announced begins to sign. */
  async sweep(): Promise<void> {
    const { place, store, purpose, wallMs, maxAgeMs = 0 } = this.#options;
    const tooOld = place.reference === "" && maxAgeMs > 0 && wallMs() - this.#since >= maxAgeMs;
    const read = tooOld && this.#next === null ? await replaceSigningKey(place) : await openSigningKey(place);
    if (read.keyId !== this.#current.keyId && read.keyId !== this.#next?.pair.keyId) await this.#announce(read);
    if (this.#next !== null && wallMs() >= this.#next.fromMs) await this.#promote(false);
    await store.publishKey(purpose, this.#current, wallMs());
  }

  async #announce(pair: SigningPair): Promise<void> {
    const { store, purpose, wallMs, leadMs = leadMsDefault } = this.#options;
    if ((await store.publishKey(purpose, pair, wallMs())) === "stolen") throw givenUp(pair);
    this.#next = { pair, fromMs: wallMs() + leadMs };
    this.#listed = null;
  }

  async #promote(stolen: boolean): Promise<void> {
    const next = this.#next;
    if (next === null) return;
    const { store, purpose, wallMs, graceMs } = this.#options;
    const old = this.#current;
    this.#current = next.pair;
    this.#since = wallMs();
    this.#next = null;
    this.#listed = null;
    const notAfterWallMs = wallMs() + (stolen ? 0 : graceMs);
    await store.retireKey(purpose, old.keyId, { notAfterWallMs, stolen });
  }
}

function givenUp({ reference }: SigningPair): StoreError {
  return new StoreError("invalid", `The key ${reference} was given up as stolen`, "Set another key there");
}
