# SPDX-License-Identifier: Apache-2.0
# The image's network: a firewall that accepts only requests to the model, and a DHCP client that accepts little.
{ config, lib, ... }:
let
  # The rules that the kiwi image and this image share. An image without an inference service does not accept port 443.
  shared = lib.readFile ../kiwi/root/usr/lib/sealboot/firewall.nft;
  way = "\n                tcp dport 443 accept\n";
  once = lib.length (builtins.split way shared) == 3;
  ruleset =
    if !once then throw "kiwi's firewall.nft does not have the one rule that nix/network.nix takes out: ${way}"
    else if config.services.sealboot.inferenceServices == { } then lib.replaceStrings [ way ] [ "\n" ] shared
    else shared;
in
{
  networking.useNetworkd = true;
  # NixOS' own network configuration would accept all that DHCP offers.
  networking.useDHCP = false;
  systemd.network.wait-online.anyInterface = true;
  # The operator of the instance controls its DHCP server and router. The image accepts addresses, the gateway and the
  # resolver from them, because it needs these to reach KMS and S3; TLS authenticates KMS and S3. The image accepts no
  # time server, host name, search domain or other route.
  environment.etc."systemd/network/80-sealboot.network".text = ''
    [Match]
    Type=ether

    [Network]
    DHCP=yes
    IPv6AcceptRA=yes
    LLMNR=no
    MulticastDNS=no

    [DHCPv4]
    UseDNS=yes
    UseGateway=yes
    UseRoutes=no
    UseNTP=no
    UseHostname=no
    UseDomains=no
    UseTimezone=no
    UseSIP=no
    UseCaptivePortal=no
    SendHostname=no

    [DHCPv6]
    UseDNS=yes
    UseNTP=no
    UseHostname=no
    UseDomains=no
    UseCaptivePortal=no
    UseDelegatedPrefix=no
    SendHostname=no

    [IPv6AcceptRA]
    UseDNS=yes
    UseDomains=no
    UseRoutePrefix=no
    UseCaptivePortal=no
  '';
  services.timesyncd.servers = [ "169.254.169.123" ];
  services.timesyncd.fallbackServers = [ ];

  networking.firewall.enable = false;
  networking.nftables.enable = true;
  networking.nftables.ruleset = ruleset;
  # The build checks the rules on a machine that does not have the image's users.
  networking.nftables.preCheckRuleset = "sed -E -i 's/skuid \"[^\"]+\"/skuid 0/' ruleset.conf";
  systemd.services.nftables = {
    requiredBy = [ "systemd-networkd.service" ];
    # The rules name users that systemd-sysusers creates.
    after = [ "systemd-sysusers.service" ];
    # NixOS' command would open the firewall at shutdown.
    serviceConfig.ExecStop = lib.mkForce [ ];
  };

  assertions = [
    {
      assertion = config.networking.nftables.enable && config.networking.nftables.ruleset == ruleset
        && config.networking.nftables.rulesetFile == null && config.networking.nftables.tables == { };
      message = "no firewall, or not the recipe's";
    }
    {
      assertion = !config.networking.useDHCP && config.systemd.network.networks == { };
      message = "DHCP would be believed: networking.useDHCP, or systemd.network.networks, beside the recipe's network";
    }
  ];
}
