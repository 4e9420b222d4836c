/** The line below the picture. */

/** How a session that is live goes on. stats: of the player; texts: of the page's language. */
export function liveLine(stats, texts) {
  const transport = texts[`transport.${stats.transport}`];
  const because = texts.carriedBecause.replace("{transport}", transport);
  const facts = [stats.reasonCode ? because.replace("{reason}", texts[`reason.${stats.reasonCode}`]) : transport];
  facts.push(`${Math.round(stats.fps)} fps`);
  if (stats.latencyMs !== null) facts.push(`${texts.answeredIn} ${Math.round(stats.latencyMs)} ms`);
  facts.push(texts[`turn.${stats.turnState}`]);
  return facts.join(" · ");
}
