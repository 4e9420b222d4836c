/** The line below the picture. */

/**
 * Return the line for a live session: the transport, frame rate, latency and turn.
 * @param {ReturnType<import("../player.js").Player["stats"]>} stats
 * @param {import("../types/api.d.ts").Texts} texts of the page's language
 */
export function liveLine(stats, texts) {
  const transport = texts[`transport.${stats.transport}`];
  const because = texts.carriedBecause.replace("{transport}", transport);
  const facts = [stats.reasonCode ? because.replace("{reason}", texts[`reason.${stats.reasonCode}`]) : transport];
  facts.push(`${Math.round(stats.fps ?? 0)} fps`);
  if (stats.latencyMs !== null) facts.push(`${texts.answeredIn} ${Math.round(stats.latencyMs)} ms`);
  facts.push(texts[`turn.${stats.turnState}`]);
  return facts.join(" · ");
}
