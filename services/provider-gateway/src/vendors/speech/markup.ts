/** Text as markup (SSML) with words said otherwise, and the way back from an offset in the markup to the text. */

export interface Markup {
  readonly text: string;
  /** Offset in the text that was marked up, of an offset in {@link Markup.text}; within a tag that of what it stands before. */
  sourceOf(at: number): number;
  /** Whether anything is said otherwise. */
  readonly respelt: boolean;
}

export const escapeXml = (text: string): string => text.replace(/[<>&"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** Text as it stands; the way back is none. */
export const plainMarkup = (text: string): Markup => ({
  text,
  sourceOf: (at) => Math.max(0, Math.min(at, text.length)),
  respelt: false,
});

/**
 * `before` and `after` surround it, e.g. `<speak>`. Words of `spoken` (in lower case) become phoneme elements, whole words only and
 * whatever their case; where several fit, the longest.
 */
export function markup(text: string, spoken: ReadonlyMap<string, string>, before = "", after = ""): Markup {
  const builder = new Builder();
  builder.tag(before, 0);
  let at = 0;
  for (const match of spoken.size === 0 ? [] : text.matchAll(patternOf([...spoken.keys()]))) {
    const phonetic = spoken.get(match[0].toLowerCase());
    if (phonetic === undefined) continue;
    builder.plain(text, at, match.index);
    at = match.index + match[0].length;
    builder.tag(`<phoneme alphabet="ipa" ph="${escapeXml(phonetic)}">`, match.index);
    builder.plain(text, match.index, at);
    builder.tag("</phoneme>", at);
    builder.respelt = true;
  }
  builder.plain(text, at, text.length);
  builder.tag(after, text.length);
  return builder.done(text.length);
}

function patternOf(words: readonly string[]): RegExp {
  const parts = [...words]
    .sort((a, b) => b.length - a.length)
    .map((word) => word.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&"));
  return new RegExp(`(?<![\\p{L}\\p{N}'])(?:${parts.join("|")})(?![\\p{L}\\p{N}'])`, "giu");
}

interface Run {
  /** Where it begins in the markup, and in the text. */
  readonly at: number;
  readonly source: number;
  /** Text as it stands; a tag, or an escaped sign, is a single place of the text. */
  readonly literal: boolean;
}

class Builder {
  readonly #parts: string[] = [];
  readonly #runs: Run[] = [];
  #length = 0;
  respelt = false;

  tag(text: string, source: number): void {
    if (text !== "") this.#put(text, source, false);
  }

  plain(text: string, from: number, to: number): void {
    let at = from;
    for (let i = from; i <= to; i++) {
      const sign = i < to ? (text[i] as string) : "";
      const escaped = escapeXml(sign);
      if (i < to && escaped === sign) continue;
      if (at < i) this.#put(text.slice(at, i), at, true);
      if (i < to) this.#put(escaped, i, false);
      at = i + 1;
    }
  }

  #put(text: string, source: number, literal: boolean): void {
    this.#runs.push({ at: this.#length, source, literal });
    this.#parts.push(text);
    this.#length += text.length;
  }

  done(sourceLength: number): Markup {
    const runs = this.#runs;
    return {
      text: this.#parts.join(""),
      respelt: this.respelt,
      sourceOf: (at) => {
        if (at >= this.#length) return sourceLength;
        const run = runs.findLast((one) => one.at <= at);
        return run === undefined ? 0 : run.source + (run.literal ? at - run.at : 0);
      },
    };
  }
}
