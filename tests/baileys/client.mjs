// The real Baileys client, told what to do by its arguments and reporting what happens as lines of JSON.
//
//   node client.mjs --url ws://127.0.0.1:7300/ws/chat --root HEX [--auth DIR] [--number 55...]
//                   [--limit-ms 60000] [--log-level debug]
//
// With a number it asks for a code to be typed on that phone, once it could show a QR code.
//
// Lines: {"event":"qr","qr"}, {"event":"code","code"}, {"event":"paired","jid"}, {"event":"restart"}, {"event":"open","jid","lid"},
//        {"event":"message","id","from","text","type"}, {"event":"sent","id","to"}, {"event":"status","id","status"},
//        {"event":"close","code","reason"}, {"event":"error","message"}, {"event":"timeout"}, {"event":"done"}.
// Commands on stdin, one JSON object a line: {"send":{"to":"55...","text":"..."}}, {"connect":true} after a close,
//        {"logout":true}, {"quit":true}.

import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import makeWASocket, { DisconnectReason, makeCacheableSignalKeyStore, useMultiFileAuthState, WA_CERT_DETAILS } from 'baileys'

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    root: { type: 'string' },
    auth: { type: 'string' },
    number: { type: 'string' },
    'limit-ms': { type: 'string', default: '60000' },
    'log-level': { type: 'string', default: 'silent' }
  }
})

const report = (event, detail = {}) => process.stdout.write(JSON.stringify({ event, ...detail }) + '\n')

const silent = () => {}
// A dependency of Baileys prints whole sessions to stdout, which belongs to the reports.
console.log = console.info = console.warn = silent

const print = level => (object, text) => process.stderr.write(JSON.stringify({ level, text, object }, (_, value) => (value instanceof Error ? value.stack : value)) + '\n')
const loud = options['log-level'] !== 'silent'
const logger = {
  level: options['log-level'],
  child: () => logger,
  trace: silent,
  debug: options['log-level'] === 'debug' ? print('debug') : silent,
  info: loud ? print('info') : silent,
  warn: loud ? print('warn') : silent,
  error: loud ? print('error') : silent
}

// Baileys checks the chain of certificates against a key of WhatsApp's; here another root is the trusted one. The check
// itself stays what it is.
WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from(options.root, 'hex')

const { state, saveCreds } = await useMultiFileAuthState(options.auth ?? mkdtempSync(join(tmpdir(), 'baileys-')))

let socket
let quitting = false
const finish = (code, event) => {
  quitting = true
  report(event)
  process.exitCode = code
  socket?.end(undefined)
  setTimeout(() => process.exit(code), 500).unref()
}
const limit = setTimeout(() => finish(3, 'timeout'), Number(options['limit-ms']))
limit.unref()

const textOf = message => message?.conversation ?? message?.extendedTextMessage?.text ?? null

let codeShown = false
const showCode = async () => {
  codeShown = true
  try {
    report('code', { code: await socket.requestPairingCode(options.number) })
  } catch (error) {
    report('error', { message: error.message })
  }
}

const connect = () => {
  socket = makeWASocket({
    auth: { creds: state.creds, keys: makeCacheableSignalKeyStore(state.keys, logger) },
    waWebSocketUrl: options.url,
    logger,
    // Without history there is nothing to wait for, and messages are reported at once.
    shouldSyncHistoryMessage: () => false,
    syncFullHistory: false
  })
  socket.ev.on('creds.update', saveCreds)
  socket.ev.on('connection.update', ({ connection, qr, isNewLogin, lastDisconnect }) => {
    if (qr) report('qr', { qr })
    if (qr && options.number && !codeShown) showCode()
    if (isNewLogin) report('paired', { jid: state.creds.me?.id })
    if (connection === 'open') report('open', { jid: state.creds.me?.id, lid: state.creds.me?.lid })
    if (connection !== 'close' || quitting) return
    const code = lastDisconnect?.error?.output?.statusCode
    if (code === DisconnectReason.restartRequired) {
      report('restart')
      connect()
    } else {
      report('close', { code, reason: lastDisconnect?.error?.message })
    }
  })
  socket.ev.on('messages.upsert', ({ messages, type }) => {
    for (const { key, message } of messages) {
      if (key.fromMe) continue
      report('message', { id: key.id, from: key.remoteJid, text: textOf(message), type })
    }
  })
  socket.ev.on('messages.update', updates => {
    for (const { key, update } of updates) {
      if (update.status !== undefined) report('status', { id: key.id, status: update.status })
    }
  })
}

createInterface({ input: process.stdin }).on('line', async line => {
  const command = JSON.parse(line)
  try {
    if (command.send) {
      const { to, text } = command.send
      const sent = await socket.sendMessage(`${to}@s.whatsapp.net`, { text })
      report('sent', { id: sent.key.id, to })
    }
    if (command.connect) connect()
    if (command.logout) await socket.logout()
    if (command.quit) finish(0, 'done')
  } catch (error) {
    report('error', { command, message: error.message })
  }
})

connect()
