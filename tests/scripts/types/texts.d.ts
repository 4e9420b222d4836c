/** The script that portal/ui/texts_module.py makes. */

type Words = Record<"en" | "zh", Record<string, string>>;

export const header: Words;
export const talk: Words;
export const desk: Words;
