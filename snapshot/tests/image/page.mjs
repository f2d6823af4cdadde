// Renders a local page with the locked Playwright and the image's browser, clicks in it and takes a picture.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire('/opt/harvest/x.js')
const { chromium } = require('playwright')

const page = '<!doctype html><title>before</title><button onclick="document.title=\'after\'">press</button>'
writeFileSync('/tmp/page.html', page)
const browser = await chromium.launch({ channel: 'chrome' })
try {
  const tab = await browser.newPage()
  await tab.goto('file:///tmp/page.html')
  await tab.click('button')
  assert.equal(await tab.title(), 'after')
  await tab.screenshot({ path: '/tmp/page.png' })
  assert.equal(readFileSync('/tmp/page.png').subarray(1, 4).toString(), 'PNG')
} finally {
  await browser.close()
}
