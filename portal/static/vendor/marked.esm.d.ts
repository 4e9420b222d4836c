/** As much of marked as the page uses. */

interface Token {
  text: string;
  tokens: Token[];
}

export class Marked {
  constructor(options: {
    gfm: boolean;
    breaks: boolean;
    renderer: Record<string, (this: { parser: { parseInline(tokens: Token[]): string } }, token: Token) => string>;
  });
  parse(text: string): string;
}
