# SPDX-License-Identifier: Apache-2.0
# What an image of one's own says: which key may release a model, and who serves it.
{ pkgs, ... }:
{
  services.sealboot = {
    enable = true;
    keys = [ "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab" ];
    encryptionContext.model = "example";
    inferenceServices.llama-cpp = 8080;
  };
  services.llama-cpp = {
    enable = true;
    host = "127.0.0.1";
    port = 8080;
    model = "/run/sealboot/model/current/model.gguf";
  };
}
