/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/failure.h"

#include <stdarg.h>

#include "basic/utf8.h"

static const struct failure_info failures[] = {
        { FAILURE_NONE, "none", "no failure", "", "00000000000000000000000000000000" },
        { FAILURE_INTERNAL, "internal", "internal error",
          "This is a defect or an out-of-memory condition; please report it with the journal of this boot.",
          "c8085428f01041e5bc7ad670af2a166a" },
        { FAILURE_USAGE, "usage", "the command line is not understood", "See --help.",
          "9a3670d85e974c48a49d76de27af6361" },
        { FAILURE_STOPPED, "stopped", "stopped by a signal",
          "Nothing was published. If nobody stopped it, systemd's start timeout did: see TimeoutStartSec=.",
          "3065f48cc5424a53a0abbd4409eba837" },
        { FAILURE_RETIRED, "retired", "the instance is being taken away",
          "Nothing was published, and there is nothing to do on this instance: see the activity history of the Auto "
          "Scaling group, or the Spot interruption notice.",
          "cc12021610c6427ab1ab5b19a9736afd" },
        { FAILURE_CONFIG, "config", "the measured configuration is not valid",
          "Correct the file in the image recipe and rebuild the image: it is on the verity root and cannot be changed "
          "on the instance.",
          "efe8594e139147dc97ff17d092075edb" },
        { FAILURE_LAUNCH, "launch-parameters", "the launch parameters in user data are not valid",
          "User data must be JSON such as {\"sealboot\": {\"model\": \"s3://bucket/prefix/\"}}.",
          "32a15f25225646ea879a6f1a75f3640b" },
        { FAILURE_IMDS, "imds", "the instance metadata service did not answer as expected",
          "Check that the instance's metadata options enable the endpoint, and that the hop limit allows this host.",
          "1dad36503f174e5d9983f286e326eb3c" },
        { FAILURE_CREDENTIALS, "credentials", "no usable AWS credentials",
          "Attach an instance profile whose role may call kms:Decrypt and s3:GetObject.",
          "4fd366145fd545c38c87b844d5c8ea4d" },
        { FAILURE_CLOCK, "clock", "the system clock is wrong",
          "Make chrony reach 169.254.169.123 (Amazon Time Sync) before the agent starts.",
          "fd6434db95164b6c9b8e82d0ffd3618d" },
        { FAILURE_NETWORK, "network", "an AWS endpoint could not be reached",
          "Check route, security group, VPC endpoints and DNS for the endpoint named above.",
          "0b66eb4781e943fcbec4a87c388c52e4" },
        { FAILURE_HIBERNATION, "hibernation", "an instance that is to be hibernated gets no model",
          "Hibernation writes memory, and with it the model, to an EBS volume. Give the warm pool the PoolState "
          "Stopped "
          "or Running.",
          "4fce5a1edfc543819a74ff2b69983fa6" },
        { FAILURE_TPM_ABSENT, "tpm-absent", "no TPM",
          "Start an instance type with NitroTPM from an AMI registered with --tpm-support v2.0.",
          "70faf9635dd84074b203a2c49f26b033" },
        { FAILURE_TPM_BUSY, "tpm-busy", "the TPM stayed busy",
          "Another program uses the TPM: stop it, or order it after the agent.", "0fa9d7b3acab4038b56d5270be137b8b" },
        { FAILURE_TPM, "tpm", "a TPM command failed",
          "The TPM sent the response code above; `tpm2_rc_decode` explains it.", "fc6919ef130c49cf91fffd20c74f837c" },
        { FAILURE_PCR_NOT_ZERO, "pcr-not-zero", "PCR15 was extended before this boot's model was measured",
          "A model can be loaded once per boot: reboot. If it happens on a first start, mask what extends PCR15 "
          "(systemd-pcrmachine, systemd-pcrfs*).",
          "36012462cb204521b4d997d373dd2403" },
        { FAILURE_ATTESTATION, "attestation", "the NitroTPM gave no attestation document",
          "Check that this instance type and Region support NitroTPM attestation.",
          "8e017c130f95440fbc8b3dc7ac78e274" },
        { FAILURE_MEASURE, "measure", "the model could not be measured into PCR15",
          "Nothing was published. Reboot and look at the TPM's response code above.",
          "370d8cebfc744a55b48ac4174d2a9011" },
        { FAILURE_PCR_BANK, "pcr-bank", "the TPM's SHA-384 PCR bank is not active",
          "Activate the bank in the firmware, or with `tpm2_pcrallocate sha384:all` and a restart. A NitroTPM always "
          "has it.",
          "e69b892bad089a9436f881fd3798d82d" },
        { FAILURE_KMS_DENIED, "kms-denied", "KMS refused to release the data key",
          "Compare the PCRs above with the key policy (`sealboot policy check`): a PCR mismatch and a missing "
          "permission look alike to KMS.",
          "eb2658d237b14f8993f17f5a3442c9fa" },
        { FAILURE_KMS_KEY, "kms-key", "the KMS key cannot be used",
          "The key's owner must enable it, cancel its deletion, or correct its ARN.",
          "0104f56ecf7f41399d21cb39cb7a8507" },
        { FAILURE_KMS_CIPHERTEXT, "kms-ciphertext", "KMS cannot decrypt this encrypted data key",
          "The encryption context or key is not the one the model was sealed with, or the object was altered: seal it "
          "again.",
          "3b88217add724c6f88d7b56aaf047e52" },
        { FAILURE_KMS_UNAVAILABLE, "kms-unavailable", "KMS did not answer in time",
          "Try again; check the KMS VPC endpoint and request quotas if it persists.",
          "0be15571250f46d2b5e3be1582f6cccf" },
        { FAILURE_KMS_ANSWER, "kms-answer", "KMS sent an answer that is not well-formed",
          "Another server may answer in the place of KMS: check the endpoint and its certificate.",
          "8680cf470bcd4e3e84d2e002737702b6" },
        { FAILURE_S3_DENIED, "s3-denied", "S3 refused access to the sealed model",
          "The role needs s3:GetObject on the object named above (and the bucket policy must allow it).",
          "183fd029afdd4b8986cad099f52a9247" },
        { FAILURE_S3_NOT_FOUND, "s3-not-found", "there is no sealed model at this place",
          "Check bucket, prefix and Region in user data.", "0ae0804d057b469cbd361cf12a4d5228" },
        { FAILURE_S3_UNAVAILABLE, "s3-unavailable", "S3 did not answer in time",
          "Try again; check the S3 gateway endpoint if it persists.", "6b3aedc52d024f5c90a2b240fc3d2dc6" },
        { FAILURE_S3_CHANGED, "s3-changed", "the object was replaced while it was being read",
          "Seal each version under a new prefix instead of overwriting, then start again.",
          "a46c7cb64d6f427f87af0db4a632cdf6" },
        { FAILURE_S3_ANSWER, "s3-answer", "S3 sent an answer that is not well-formed",
          "Another server may answer in the place of S3: check the endpoint and its certificate.",
          "007d0e0b877449b9932f84077e73997d" },
        { FAILURE_SEALED_FORMAT, "sealed-format", "the object is not a sealed file sealboot can read",
          "The object is damaged, or not sealed: `sealboot inspect` shows what it is. Seal it again.",
          "862c7ae6ab6f44fd90ddb5c05d8a43a8" },
        { FAILURE_SUITE, "suite", "the object is sealed with a suite that is not accepted",
          "Seal with suite 0x0478 (AES-256-GCM, HKDF-SHA512, key commitment, no signature), framed: `sealboot seal`, "
          "or the Encryption SDK's commitment policy REQUIRE_ENCRYPT with that suite.",
          "bea462e9f7d9477995dbb8102987849b" },
        { FAILURE_KEY_NOT_PINNED, "key-not-pinned", "the object is sealed under a KMS key that is not pinned",
          "Seal the model under a key the image pins, or add the key's ARN to \"keys\" in the measured configuration.",
          "27d0e69bd2d04b2d8150a76326ba96a4" },
        { FAILURE_CONTEXT, "encryption-context", "the encryption context or the data key is not the one required",
          "Seal the model with the encryption context that the measured configuration names.",
          "b049e670096346fa859295295cf6f105" },
        { FAILURE_AUTHENTICATION, "authentication", "the sealed bytes do not verify",
          "The object was altered or damaged after sealing, or opened with the wrong key. Nothing was published. "
          "Upload it again.",
          "a7051a16f8424331a6fd156129c1b50f" },
        { FAILURE_MANIFEST, "manifest", "the manifest is not valid",
          "The manifest decrypted, so the owner wrote it: seal the model again.", "c4d46489c33b4ad6857ff80b6c02a108" },
        { FAILURE_DIGEST, "digest", "the model is not the one that was named",
          "The bytes are authentic but their digest differs: the wrong version was uploaded, or files were mixed. Seal "
          "again.",
          "d5b15738345b4df2af3d1d5f0d60c534" },
        { FAILURE_SPACE, "space", "the model does not fit",
          "Choose an instance type with more memory, or raise size= of the model tmpfs in the image.",
          "11ea43fe5fe245d396bdf204eece374a" },
        { FAILURE_PUBLISH, "publish", "the model could not be handed over",
          "Check that the model tmpfs is mounted and writable for the agent.", "aa806d02020d44879f9956e80c9e9496" },
        { FAILURE_IO, "io", "a local file could not be read or written", "See the reason above.",
          "a7dd362e18294abebf45640dd301913f" },
        { FAILURE_LIFECYCLE, "lifecycle", "Auto Scaling could not be told",
          "The role needs autoscaling:CompleteLifecycleAction on the group (`sealboot policy --for role "
          "--auto-scaling-group`); without it the hook's own timeout decides.",
          "f677320751e84f60845c0da11eaf1899" },
        { FAILURE_GATE, "gate", "the gate cannot answer",
          "Start it with `systemctl start sealboot-gate.service`, which brings its sockets.",
          "9c1f0a3d5f3e4b0e8e0f6b1b6a0f2c47" },
        { FAILURE_SERVER, "server", "the inference server did not get ready",
          "See the journal of the server, and what \"ready\" in agent.json asks of it.",
          "b101341bd8314298b4323a08695ed185" },
        { FAILURE_UKI, "uki", "the image is not a UKI that can be measured",
          "Build it with ukify or systemd's stub; for an unknown stub name its version with --stub-version.",
          "e0be48fba18b4784976e8a08d18481de" },
        { FAILURE_EVENT_LOG, "event-log", "the event log is not well-formed",
          "Copy it again from /sys/kernel/security/tpm0/binary_bios_measurements.",
          "ac4863a5df0d4442906d0a14fbcadde4" },
        { FAILURE_DOCUMENT, "document", "the attestation document does not verify",
          "Do not trust whoever presented it; ask for a fresh document.", "db1c9863772e4365afa7c264ab583301" },
        { FAILURE_MISMATCH, "mismatch", "the values differ from what was expected", "See the differences listed above.",
          "8e0bb8572ebe45138dee66f45efdaca3" },
        { FAILURE_POLICY, "policy", "the policy is not acceptable", "See the reason above.",
          "f854a971f8ed45f2bcb3a25e64195bf1" },
};

const struct failure_info *failure_table(size_t *ret_n) {
        *ret_n = ELEMENTS(failures);
        return failures;
}

const struct failure_info *failure_info(enum failure failure) {
        for (size_t i = 0; i < ELEMENTS(failures); i++)
                if (failures[i].failure == failure)
                        return &failures[i];
        return &failures[FAILURE_INTERNAL];
}

void error_fill(struct error *e, enum failure failure, const char *subject, const char *format, ...) {
        va_list ap;

        if (!e)
                return;
        *e = (struct error) { .failure = failure };
        snprintf(e->subject, sizeof e->subject, "%s", subject ?: "");
        va_start(ap, format);
        vsnprintf(e->reason, sizeof e->reason, format, ap);
        va_end(ap);
        utf8_make_printable(e->subject);
        utf8_make_printable(e->reason);
}

void fail_advice(struct error *e, const char *format, ...) {
        va_list ap;

        if (!e)
                return;
        va_start(ap, format);
        vsnprintf(e->advice, sizeof e->advice, format, ap);
        va_end(ap);
        utf8_make_printable(e->advice);
}

void failure_print(FILE *f, const char *program, const struct error *e) {
        const struct failure_info *info = failure_info(e->failure);

        failure_print_words(f, program, e, info->title, e->advice[0] ? e->advice : info->advice);
}

void failure_print_words(FILE *f, const char *program, const struct error *e, const char *title, const char *advice) {
        const struct failure_info *info = failure_info(e->failure);

        fprintf(f, "%s: %s (exit code %d, %s)\n", program, title, (int) info->failure, info->name);
        if (e->subject[0])
                fprintf(f, "  on:         %s\n", e->subject);
        fprintf(f, "  why:        %s\n", e->reason);
        if (e->request_id[0])
                fprintf(f, "  request id: %s\n", e->request_id);
        fprintf(f, "  what to do: %s\n", advice);
}
