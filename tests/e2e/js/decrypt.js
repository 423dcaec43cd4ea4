// SPDX-License-Identifier: Apache-2.0
'use strict'
// node decrypt.js IN OUT: also prints, as JSON, the suite, frame length and encryption context that the SDK found.
const fs = require('node:fs')
const { pipeline } = require('node:stream/promises')
const { buildClient, CommitmentPolicy } = require('@aws-crypto/client-node')
const kms = require('./kms')

const [input, output] = process.argv.slice(2)
const client = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
const opener = client.decryptStream(kms.toDecrypt())

opener.on('MessageHeader', h => console.log(JSON.stringify({
  suite: h.suiteId,
  frameLength: h.frameLength,
  context: h.encryptionContext,
  keys: h.encryptedDataKeys.map(k => ({ provider: k.providerId, info: k.providerInfo }))
})))
pipeline(fs.createReadStream(input), opener, fs.createWriteStream(output))
  .catch(e => { console.error(e); process.exitCode = 1 })
