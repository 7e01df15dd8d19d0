// The real Baileys client, told what to do by its arguments and reporting what happens as lines of JSON.
//
//   node client.mjs --url ws://127.0.0.1:7300/ws/chat --root HEX [--auth DIR] [--number 55...]
//                   [--keep-alive-ms 30000] [--limit-ms 60000] [--log-level debug]
//
// With a number it asks for a code to be typed on that phone, once it could show a QR code. Numbers and JIDs are taken alike.
//
// Lines: {"event":"qr","qr"}, {"event":"code","code"}, {"event":"paired","jid"}, {"event":"restart"}, {"event":"open","jid","lid"},
//        {"event":"message","id","from","participant","text","type"}, {"event":"status","id","status"}, {"event":"receipt","id","from","read"},
//        {"event":"notice","from","of"} for what Baileys takes for a message and is none: GROUP_CREATE, CIPHERTEXT and so on;
//        {"event":"presence","from","of"}, {"event":"members","group","action","who"}, and what the commands below report.
//        {"event":"ending","reason"} as soon as Baileys gives a connection up, {"event":"close","code","reason","data"} once it is gone;
//        {"event":"unhandled","message"} for an error that would have ended a program that does not look out for it;
//        {"event":"error","message"}, {"event":"timeout"}, {"event":"done"}.
//
// Commands on stdin, one JSON object a line, and the report of each:
//   {"send":{"to","text"}}                          sent {id, to}
//   {"media":{"to","kind","base64","mimetype"}}     sent {id, to}; `kind` is image, video, audio or document
//   {"download":ID}                                 downloaded {id, base64}; of a message that was reported
//   {"react":{"to":ID,"text"}}                      sent {id, to}
//   {"read":ID}                                     marked {id}
//   {"group":{"subject","with":[..]}}               group {jid, subject, members}
//   {"members":JID}                                 group {jid, subject, members}
//   {"presence":{"type","to"}}                      announced {type}
//   {"watch":NUMBER}                                watching {of}
//   {"ping":true}                                   pong {}
//   {"drop":true}                                   gives the connection up, as a program with a limit of its own would
//   {"connect":true} after a close, {"logout":true}, {"quit":true}

import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import makeWASocket, {
  DisconnectReason,
  downloadMediaMessage,
  makeCacheableSignalKeyStore,
  useMultiFileAuthState,
  WAMessageStubType,
  WA_CERT_DETAILS
} from 'baileys'

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    root: { type: 'string' },
    auth: { type: 'string' },
    number: { type: 'string' },
    'keep-alive-ms': { type: 'string', default: '30000' },
    'limit-ms': { type: 'string', default: '60000' },
    'log-level': { type: 'string', default: 'silent' }
  }
})

const report = (event, detail = {}) => process.stdout.write(JSON.stringify({ event, ...detail }) + '\n')

// Baileys reads what arrives in the background: what it cannot decrypt there ends a Node program that does not look out for it.
process.on('unhandledRejection', error => report('unhandled', { message: error?.message ?? String(error) }))

const silent = () => {}
// A dependency of Baileys prints whole sessions to stdout, which belongs to the reports.
console.log = console.info = console.warn = silent

const print = level => (object, text) => process.stderr.write(JSON.stringify({ level, text, object }, (_, value) => (value instanceof Error ? value.stack : value)) + '\n')
const loud = options['log-level'] !== 'silent'
const printInfo = loud ? print('info') : silent
const logger = {
  level: options['log-level'],
  child: () => logger,
  trace: silent,
  debug: options['log-level'] === 'debug' ? print('debug') : silent,
  // Between this line and the event of the close may lie half a minute, if the server does not read.
  info: (object, text) => {
    if (text === 'connection errored') report('ending', { reason: object?.trace?.split('\n')[0] })
    printInfo(object, text)
  },
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

const jidOf = name => (name.includes('@') ? name : `${name}@s.whatsapp.net`)
const textOf = message =>
  message?.conversation ??
  message?.extendedTextMessage?.text ??
  message?.reactionMessage?.text ??
  message?.imageMessage?.caption ??
  message?.videoMessage?.caption ??
  null

/** Messages that were reported, for commands that name one. */
const seen = new Map()

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
    keepAliveIntervalMs: Number(options['keep-alive-ms']),
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
    const { output, message, data } = lastDisconnect?.error ?? {}
    if (output?.statusCode === DisconnectReason.restartRequired) {
      report('restart')
      connect()
    } else {
      report('close', { code: output?.statusCode, reason: message, data: data?.attrs ?? data ?? null })
    }
  })
  socket.ev.on('messages.upsert', ({ messages, type }) => {
    for (const message of messages) {
      const { key, messageStubType: stub } = message
      if (key.fromMe) continue
      // What happened to a group comes as a message too, and so does one that could not be decrypted.
      if (stub) {
        report('notice', { from: key.remoteJid, of: WAMessageStubType[stub] })
        continue
      }
      seen.set(key.id, message)
      report('message', { id: key.id, from: key.remoteJid, participant: key.participant, text: textOf(message.message), type })
    }
  })
  socket.ev.on('messages.update', updates => {
    for (const { key, update } of updates) {
      if (update.status !== undefined) report('status', { id: key.id, status: update.status })
    }
  })
  socket.ev.on('message-receipt.update', updates => {
    for (const { key, receipt } of updates) {
      report('receipt', { id: key.id, from: receipt.userJid, read: receipt.readTimestamp !== undefined })
    }
  })
  socket.ev.on('presence.update', ({ id, presences }) => report('presence', { from: id, of: presences }))
  socket.ev.on('group-participants.update', ({ id, action, participants }) =>
    report('members', { group: id, action, who: participants.map(member => member.id ?? member) })
  )
}

const describe = ({ id, subject, participants }) => report('group', { jid: id, subject, members: participants.map(member => member.id) })

const commands = {
  send: async ({ to, text }) => report('sent', { id: (await socket.sendMessage(jidOf(to), { text })).key.id, to }),
  media: async ({ to, kind, base64, mimetype }) => {
    const sent = await socket.sendMessage(jidOf(to), { [kind]: Buffer.from(base64, 'base64'), mimetype })
    report('sent', { id: sent.key.id, to })
  },
  download: async id => {
    const bytes = await downloadMediaMessage(seen.get(id), 'buffer', {}, { logger, reuploadRequest: socket.updateMediaMessage })
    report('downloaded', { id, base64: bytes.toString('base64') })
  },
  react: async ({ to, text }) => {
    const { key } = seen.get(to)
    report('sent', { id: (await socket.sendMessage(key.remoteJid, { react: { key, text } })).key.id, to: key.remoteJid })
  },
  read: async id => {
    await socket.readMessages([seen.get(id).key])
    report('marked', { id })
  },
  group: async ({ subject, with: people }) => describe(await socket.groupCreate(subject, people.map(jidOf))),
  members: async jid => describe(await socket.groupMetadata(jid)),
  presence: async ({ type, to }) => {
    await socket.sendPresenceUpdate(type, to && jidOf(to))
    report('announced', { type })
  },
  watch: async of => {
    await socket.presenceSubscribe(jidOf(of))
    report('watching', { of })
  },
  ping: async () => {
    await socket.query({ tag: 'iq', attrs: { to: '@s.whatsapp.net', type: 'get', xmlns: 'w:p' }, content: [{ tag: 'ping', attrs: {} }] })
    report('pong')
  },
  drop: async () => socket.end(new Error('given up')),
  connect: async () => connect(),
  logout: async () => socket.logout(),
  quit: async () => finish(0, 'done')
}

createInterface({ input: process.stdin }).on('line', async line => {
  const command = JSON.parse(line)
  const [[name, detail]] = Object.entries(command)
  try {
    await commands[name](detail)
  } catch (error) {
    report('error', { command, message: error.message })
  }
})

connect()
