import { describe, expect, test } from "vitest";
import { createPayloadStore, TAG_SESSION } from "./payload-store.ts";

const audio = (bytes: number): Uint8Array => new Uint8Array(bytes);

describe("payload store", () => {
  test("refs rise from 1, text joins over spans, negative refs are the kernel's", () => {
    const store = createPayloadStore({ hash: (content) => `h${content.length}` });
    expect(store.putText("hello ", TAG_SESSION)).toEqual({ ref: 1, hash: "h6", bytes: 6 });
    expect(store.putText("wörld", 1)).toEqual({ ref: 2, hash: "h5", bytes: 6 });
    expect(store.putTextAt(-1, "!", TAG_SESSION)?.ref).toBe(-1);
    const spans = [
      { ref: 1, from: 0, to: 6 },
      { ref: 2, from: 0, to: 3 },
      { ref: -1, from: 0, to: 1 },
    ];
    expect(store.join(spans)).toBe("hello wör!");
    expect(store.putTextAt(7, "named", TAG_SESSION)?.ref).toBe(7);
    expect(store.putText("next", TAG_SESSION)?.ref).toBe(8);
    expect(store.join([{ ref: 99, from: 0, to: 3 }])).toBe("");
    expect(store.stats().missing).toBe(1);
  });

  test("release_turn frees the turn but for what is kept; late payloads go after their step", () => {
    const store = createPayloadStore();
    store.putText("keep", 1);
    store.putText("free", 1);
    store.putText("other turn", 2);
    store.releaseTurn(1, [1]);
    expect(store.stats()).toMatchObject({ items: 2, sessionItems: 1, turnItems: 1 });
    const lateRef = store.putText("late", 1)?.ref ?? 0;
    expect(store.join([{ ref: lateRef, from: 0, to: 4 }])).toBe("late");
    store.freeLate();
    expect(store.stats().items).toBe(2);
    store.releaseTurn(2, []);
    store.free(1);
    expect(store.stats()).toMatchObject({ items: 0, bytes: 0 });
  });

  test("caller audio goes 2 s of media behind the newest frame, and survives being sent", () => {
    const store = createPayloadStore();
    for (let i = 0; i < 200; i++) {
      const handle = store.putInputAudio(audio(640), (i + 1) * 20_000, i);
      store.freeSent(handle?.ref ?? 0);
      store.trimInput((i + 1) * 20_000);
    }
    expect(store.stats()).toMatchObject({ inputItems: 101, bytes: 101 * 640 });
    expect(store.stampOf(200)).toBe(199);
    expect(store.audio(99)).toBeNull();
    expect(store.audio(100)?.byteLength).toBe(640);
  });

  test("past its bound it refuses and keeps nothing", () => {
    const store = createPayloadStore({ bytesMax: 100, itemsMax: 3 });
    expect(store.putAudio(audio(60), 1)).not.toBeNull();
    expect(store.putAudio(audio(60), 1)).toBeNull();
    expect(store.putText("12345", 1)).not.toBeNull();
    expect(store.putText("1", 1)).not.toBeNull();
    expect(store.putText("1", 1)).toBeNull();
    expect(store.stats()).toMatchObject({ items: 3, bytes: 72 });
    store.clear();
    expect(store.stats()).toMatchObject({ items: 0, bytes: 0, bytesPeak: 72 });
  });
});
