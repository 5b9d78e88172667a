// The screenshots of docs/data-team.md, each taken in the state that the tour has reached there:
//
//   npm install --prefix FOLDER playwright-core
//   NODE_PATH=FOLDER/node_modules node docs/data-team/screenshots.cjs PORT catalog shard …
//
// A name may have an argument, as in backfill:kaabhrrr. CHROMIUM names another browser.
const path = require('node:path');
const {chromium} = require('playwright-core');

const [port, ...names] = process.argv.slice(2);
const LONGEST = 90_000;
const button = (row) => `css=tr:has-text("${row}") >> text=[Show Markdown]`;

// Name → the page's address, a text that shows that it is there, and what is clicked then.
const shots = {
  catalog: () => ['/assets', 'announced_imports'],
  shard: (key = 'eu-00') => [
    `/assets/ranked_recommendations?view=partitions&partition=${key}`, 'room_rows'],
  kpis: () => ['/assets/online_kpis', 'skips_days', button('skips_days')],
  spend: () => ['/assets/embedding_spend', 'by_provider_and_job', button('plot')],
  check: () => ['/assets/seda/artists_vectors?view=checks&checkDetail=unit_norm', 'what_failed'],
  'what-failed': () => [...shots.check(), 'text=[Show Markdown]'],
  stale: (key = 'global-00') => [
    `/assets/ranked_recommendations?view=partitions&partition=${key}`, 'Unsynced',
    'text=/Unsynced \\(/'],
  proposal: () => ['/assets/ranked_recommendations?view=events', 'Observed'],
  backfill: (id) => [`/runs/b/${id}`, 'ranked_recommendations'],
  canary: () => ['/assets/canary_gate', '_reason'],
};

async function take(browser, asked) {
  const [name, argument] = asked.split(':');
  const [address, text, ...clicks] = shots[name](argument);
  const page = await browser.newPage({viewport: {width: 1280, height: 800}});
  await page.goto(`http://127.0.0.1:${port}${address}`);
  await page.getByText(text).first().waitFor({timeout: LONGEST});
  await page.waitForTimeout(5000); // what is loaded after the text has no event of its own
  for (const target of clicks) {
    await page.locator(target).first().click({timeout: LONGEST});
    await page.waitForTimeout(2500);
  }
  await page.screenshot({path: path.join(__dirname, `${name}.png`)});
  await page.close();
}

async function main() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  });
  for (const asked of names) await take(browser, asked);
  await browser.close();
}

main();
